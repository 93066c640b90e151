-- When an alert that no operator has acknowledged is escalated. escalate_overdue() reads it.

create table walltrack.escalation_steps (
    severity text not null,
    status text not null,
    step int not null,
    after interval not null,
    repeat_every interval,
    repeats int not null default 0,
    primary key (severity, status, step),
    constraint escalation_steps_severity_is_known check (severity in ('info', 'warning', 'high', 'critical')),
    constraint escalation_steps_status_is_open check (status in ('active', 'acknowledged')),
    constraint escalation_steps_begin_at_one check (step >= 1),
    constraint escalation_steps_times_are_positive check (after > '0' and repeat_every > '0'),
    constraint escalation_steps_repeats_have_an_interval check ((repeats > 0) = (repeat_every is not null) and repeats >= 0)
);

insert into walltrack.escalation_steps (severity, status, step, after, repeat_every, repeats) values
('critical', 'active', 1, '5 minutes', '15 minutes', 32),
('high', 'active', 1, '30 minutes', '1 hour', 24),
('critical', 'acknowledged', 1, '4 hours', null, 0),
('high', 'acknowledged', 1, '4 hours', null, 0);

-- At every upgrade:

comment on table walltrack.escalation_steps is
'The steps of escalation: after which time an alert of a severity and status reaches a step, and how often the step repeats.';
comment on column walltrack.escalation_steps.step is
'The number of the step. A target with a step gets an alert only once the alert reaches it.';
comment on column walltrack.escalation_steps.after is 'The time since the alert became active, or since it was acknowledged.';
comment on column walltrack.escalation_steps.repeats is 'The maximum number of repeats after the first time.';
