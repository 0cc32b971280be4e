delete from subscription_refusal where at < now() - interval '1 day'
