-- The answer to an operator who may not retry or cancel an order. Programs decide by the code; people read the reason.

create type walltrack.order_refusal as (
    code text,
    reason text,
    hint text,
    is_final boolean
);

-- At every upgrade:

comment on type walltrack.order_refusal is
'Why an order cannot be retried or cancelled. code: for programs, see sql/README.md. reason: for a trader. hint: the remedy, where '
'there is one beyond waiting. is_final: whether the order can never be retried or cancelled again.';
