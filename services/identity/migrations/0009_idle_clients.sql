-- When clients that registered themselves got tokens last.

-- By days, so that it is written once a day at most; null: never. Not in the client's row, which every instance reads again
-- after each change.
alter table identity.client_registration add column used_on date;
-- Nobody noted it before: those that are there begin anew.
update identity.client_registration set used_on = (now() at time zone 'utc')::date;
