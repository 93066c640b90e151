-- The roles to which grant_access() gave usage on the schema. The host may have granted it to other roles, for tables of its own.

create table walltrack.given_usage (
    role_name name primary key
);

-- At every upgrade:

comment on table walltrack.given_usage is
'The roles to which grant_access() gave usage on the schema: revoke_access() and a downgrade revoke it from no other role.';
