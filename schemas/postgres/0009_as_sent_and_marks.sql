-- A subscription's subject in the words of its owner, and whose a refusal is.

alter table subscription
    -- The subject as it was asked for, where that is an organisation's number and `subject_filter` its party. Shown, never matched.
    -- What names a person is not let in.
    add column subject_sent text
        check (subject_sent ~ '^(urn:altinn:organization:identifier-no:|/organisation/|/organization/|/org/)[0-9]{9}$');

-- Nothing where it was written before refusals had it.
alter table subscription_refusal add column mark uuid;
