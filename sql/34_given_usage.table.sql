-- Which roles may use the schema because of grant_access(). The host may have let others use it, for tables of its own.

create table walltrack.given_usage (
    role_name name primary key
);

-- At every upgrade:

comment on table walltrack.given_usage is
'The roles to which grant_access() gave usage on the schema: revoke_access() and a downgrade take it back from no other.';
