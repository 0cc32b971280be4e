select last from subscription_head for update
