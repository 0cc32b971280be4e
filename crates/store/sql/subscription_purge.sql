delete from subscription where deleted < now() - interval '7 days'
