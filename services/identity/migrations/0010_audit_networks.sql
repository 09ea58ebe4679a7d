-- How far the audit's hashes of networks have been taken out, in the order of ids. Kept, since no process may have run for a
-- while: what became due meanwhile is found without an index that each record would have to write.
create table identity.audit_networks (
    only_row     boolean primary key default true check (only_row),
    forgotten_to uuid not null default '00000000-0000-0000-0000-000000000000' -- a record's id, inclusive
);
insert into identity.audit_networks default values;
