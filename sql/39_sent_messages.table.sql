-- Messages in chats that can be edited and whose buttons can be pressed, with the ids that the service gave them.

create table walltrack.sent_messages (
    target_id bigint not null references walltrack.notification_targets (target_id) on delete cascade,
    reference text not null,
    alert_id uuid not null,
    sent_at timestamptz not null default clock_timestamp(),
    edited_at timestamptz,
    is_closed boolean not null default false,
    primary key (target_id, reference)
);

create index sent_messages_of_alert on walltrack.sent_messages (alert_id);

-- At every upgrade:

comment on table walltrack.sent_messages is 'Messages about single alerts, which the relay can edit and whose buttons operators can press.';
comment on column walltrack.sent_messages.reference is 'The id that the service gave the message.';
comment on column walltrack.sent_messages.edited_at is 'When the relay last edited it.';
comment on column walltrack.sent_messages.is_closed is 'Whether its buttons are gone.';
