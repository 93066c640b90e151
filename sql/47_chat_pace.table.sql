-- When a chat may get its next message. A table of its own, so that claiming messages and reading events do not wait for each other:
-- a claim locks this row, fan_out_events() the row of the target.

create table walltrack.chat_pace (
    target_id bigint primary key references walltrack.notification_targets (target_id) on delete cascade,
    next_message_at timestamptz not null default '-infinity',
    next_digest_at timestamptz not null default '-infinity'
) with (fillfactor = 50);

-- At every upgrade:

comment on table walltrack.chat_pace is 'When each chat can get its next message and its next digest.';
comment on column walltrack.chat_pace.next_message_at is
'min_gap after the last message, or later if the service asked for it (Retry-After).';
comment on column walltrack.chat_pace.next_digest_at is 'digest_every after the last digest, or min_gap after the last message.';
