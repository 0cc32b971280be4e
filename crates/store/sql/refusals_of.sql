select subscription, refusal.mark, at, reason from subscription_refusal as refusal
join unnest($1::bigint[], $2::uuid[]) as asked (subscription, mark) using (subscription)
where (refusal.mark = asked.mark or refusal.mark is null) and at > now() - interval '1 hour'
