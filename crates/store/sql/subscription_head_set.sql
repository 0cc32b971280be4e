update subscription_head set last = $1
