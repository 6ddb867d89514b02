"""What we demand of a template beyond what the linters know: each rule reads an expanded, settled template.

A rule yields (resource, what is wrong). RULES names them; `check` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tidemill.cloud.expand import Template
from tidemill.cloud.rules import delivery, keeping, rights

Rule = Callable[[Template], Iterator[tuple[str, str]]]

RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        delivery.a_queue_hides_a_message_for_six_timeouts,
        delivery.a_queue_has_dead_letters_that_last_longer,
        delivery.a_mapping_is_bounded_and_reports_single_failures,
        delivery.an_event_target_retries_and_has_dead_letters,
        delivery.who_sends_to_a_queue_may,
        delivery.a_function_never_writes_where_it_listens,
        keeping.a_queue_is_encrypted,
        keeping.a_bucket_is_closed_encrypted_and_versioned,
        keeping.a_bucket_speaks_tls_only,
        keeping.state_outlives_the_stack,
        keeping.a_function_logs_where_logs_end,
        keeping.a_function_runs_on_a_runtime_that_loads_the_wheels,
        keeping.an_api_function_answers_before_the_gateway_gives_up,
        keeping.an_api_is_throttled_and_logged,
        keeping.a_job_is_confined_and_ends,
        rights.every_function_has_a_role_of_its_own,
        rights.rights_are_named,
        rights.nobody_else_may_take_a_role_or_use_a_policy,
        rights.only_this_system_may_invoke,
        rights.nothing_carries_a_secret_in_the_clear,
        rights.nothing_is_reachable_from_everywhere,
    )
}


def check(template: Template) -> list[tuple[str, str, str]]:
    """Every finding in a settled template: rule, resource, what is wrong."""
    return [(name, resource, wrong) for name, rule in RULES.items() for resource, wrong in rule(template)]
