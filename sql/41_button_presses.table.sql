-- Which operator pressed which button of which message. Each button works once.

create table walltrack.button_presses (
    target_id bigint not null,
    reference text not null,
    action text not null,
    alert_id uuid not null,
    actor text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (target_id, reference, action),
    foreign key (target_id, reference) references walltrack.sent_messages (target_id, reference) on delete cascade,
    constraint button_presses_action_is_known check (action in ('acknowledge', 'snooze', 'resolve'))
);

create index button_presses_of_alert on walltrack.button_presses (alert_id);

-- At every upgrade:

comment on table walltrack.button_presses is 'The buttons of messages that operators pressed.';
comment on column walltrack.button_presses.actor is 'The operator, by the allow-list of the target.';
