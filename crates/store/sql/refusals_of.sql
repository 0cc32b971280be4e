select subscription, at, reason from subscription_refusal where subscription = any($1) and at > now() - interval '1 hour'
