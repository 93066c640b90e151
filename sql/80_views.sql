-- What people and panels read.

create or replace view walltrack.open_alerts
with (security_invoker = true)
as
select a.*
from walltrack.alerts as a
where a.status <> 'resolved'
order by walltrack.severity_rank(a.severity) desc, a.created_at asc, a.id asc;

comment on view walltrack.open_alerts is 'Alerts that are not resolved: critical first, the oldest first within a severity.';


create or replace view walltrack.alert_counts
with (security_invoker = true)
as
select
    s.severity,
    count(a.id) filter (where a.status = 'active') as active,
    count(a.id) filter (where a.status = 'acknowledged') as acknowledged,
    count(a.id) as total
from (values ('critical', 1), ('high', 2), ('warning', 3), ('info', 4)) as s (severity, place)
left join walltrack.alerts as a on s.severity = a.severity and a.status <> 'resolved'
group by s.severity, s.place
order by s.place;

comment on view walltrack.alert_counts is 'How many alerts are open, one row per severity, all four always, critical first.';
