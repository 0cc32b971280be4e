select last from subscription_head
