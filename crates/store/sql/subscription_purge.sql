delete from subscription where deleted < now() - interval '100 days'
