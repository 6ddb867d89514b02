"""Every class of fault that the mill promises to survive, and the tests that show it: one table.

A test is named file::function. Those under tests/fire run with `make test-fire`, those under tests/mill with
`make test-mill`, the others with `make test`. test_classes.py fails when a named test is not there.
"""

from __future__ import annotations

WIRES = "tests/fire/wires/test_proxy_faults.py::"
PROCESSES = "tests/fire/wires/test_process_faults.py::"
CRASHES = "tests/faults/test_crashes.py::"
EVENTS = "tests/fire/wires/test_event_faults.py::"
API = "tests/faults/test_api_crashes.py::test_an_api_call_killed_anywhere_can_be_repeated"
LATE = EVENTS + "test_an_event_that_comes_after_a_later_upload_was_served_moves_nothing_back"
BROKEN_OFF = "tests/core/test_passing_faults.py::test_a_body_that_breaks_off_is_read_again_from_its_beginning"
REPLACED = EVENTS + "test_an_upload_overwritten_before_it_is_read_is_superseded_by_the_later_bytes"
FLIPS = (
    "tests/mill/test_flips.py::test_fifty_rollbacks_under_load_fail_nobody_mix_nothing_and_are_seen_within_five_seconds"
)
SWEPT = "tests/faults/test_sweep.py::test_with_every_event_dropped_the_sweep_alone_reaches_the_same_end"

KILLED = PROCESSES + "test_killed_at_each_of_its_calls_in_turn_a_process_is_survived"
CRASHED = CRASHES + "test_a_handler_killed_at_any_call_loses_nothing_and_doubles_nothing"
FIRST_TRY = WIRES + "test_the_first_try_of_each_such_call_fails"
REFUSED = WIRES + "test_the_table_refuses_the_first_try"
GIVEN_UP = WIRES + "test_a_call_fails_until_the_delivery_is_given_up"
WATCH = "tests/faults/test_watch_crashes.py::test_a_watch_ends_the_same_wherever_promote_was_killed"
RETRAIN = "tests/faults/test_retrain_crashes.py::test_killed_at_any_call_retrain_makes_one_upload"
MONITOR = "tests/mill/test_monitor_crashes.py::test_monitor_may_die_at_any_call"
FORTY = "tests/mill/test_forty_kills.py::test_forty_killed_trainings_end_as_forty_equal_versions"
STOPS = "tests/faults/test_stops.py::test_asked_to_stop_between_stages_a_job_ends_as_interrupted_and_goes_on"
REVERSED = CRASHES + "test_jobs_that_end_in_reverse_order_leave_the_later_upload_serving"
TWICE = CRASHES + "test_every_message_delivered_twice_makes_one_version"
SILENCE = "tests/mill/test_lost_events.py::test_with_every_event_dropped_the_clock_alone_brings_a_run_to_its_end"

CLASSES: dict[str, tuple[str, ...]] = {
    "crash before a call of ingest": (KILLED, CRASHED),
    "crash after a call of ingest": (KILLED, CRASHED),
    "crash before a call of preprocess": (KILLED, CRASHED),
    "crash after a call of preprocess": (KILLED, CRASHED),
    "crash before a call of submit": (KILLED, CRASHED),
    "crash after a call of submit": (KILLED, CRASHED),
    "crash before a call of train": (KILLED, CRASHED),
    "crash after a call of train": (KILLED, CRASHED),
    "crash before a call of gate": (KILLED, CRASHED),
    "crash after a call of gate": (KILLED, CRASHED),
    "crash before a call of promote": (KILLED, WATCH),
    "crash after a call of promote": (KILLED, WATCH),
    "crash before a call of drift": (MONITOR, RETRAIN),
    "crash after a call of drift": (MONITOR, RETRAIN),
    "crash before a call of API": (API,),
    "crash after a call of API": (API,),
    "duplicate S3 event": (TWICE, PROCESSES + "test_a_message_seen_again_while_it_is_worked_on_is_done_once"),
    "reordered S3 events": (LATE, REVERSED),
    "S3 event delayed by ten minutes": (LATE,),
    "missing S3 event": (SWEPT, SILENCE),
    "S3 test event": (EVENTS + "test_a_test_event_of_s3_is_taken_and_wakes_nobody",),
    "upload deleted before it is read": (EVENTS + "test_an_upload_deleted_before_it_is_read_is_rejected_and_says_so",),
    "upload overwritten before it is read": (
        EVENTS + "test_an_upload_overwritten_before_it_is_read_is_superseded_by_the_later_bytes",
    ),
    "duplicate Batch event": (TWICE,),
    "reordered Batch events": (REVERSED,),
    "missing Batch event": (SWEPT, SILENCE),
    "two jobs for one run": (CRASHES + "test_two_jobs_for_one_run_do_the_work_once", FIRST_TRY),
    "SIGTERM in training": (STOPS, FORTY),
    "SIGKILL in training": (KILLED, FORTY),
    "out of memory": (
        KILLED,  # as the kernel does it
        CRASHES + "test_a_job_that_fails_ends_its_run_with_a_reason",
    ),
    "time limit": (
        PROCESSES + "test_a_function_past_its_time_is_ended_and_its_message_comes_back",
        "tests/local/test_jobs.py::test_too_long_an_attempt_is_ended_and_not_tried_again",
    ),
    "disk full": (
        PROCESSES + "test_a_preprocess_without_disk_loses_nothing",
        PROCESSES + "test_a_job_whose_disk_is_full_ends_its_run_with_that_reason",
    ),
    "S3 503": (FIRST_TRY, GIVEN_UP),
    "S3 slow": (FIRST_TRY,),
    "S3 truncated body": (
        FIRST_TRY,
        "tests/core/test_passing_faults.py::" + "test_a_body_that_always_breaks_off_is_told_of",
    ),
    "S3 lost answer": (FIRST_TRY,),
    "DynamoDB throttle": (REFUSED, GIVEN_UP),
    "DynamoDB lost answer": (FIRST_TRY, "tests/core/test_registry.py::test_a_lost_answer_does_not_lose_the_win"),
    "DynamoDB TransactionConflict": (REFUSED,),
    "SQS visibility expires mid-work": (
        PROCESSES + "test_a_message_seen_again_while_it_is_worked_on_is_done_once",
        PROCESSES + "test_a_job_that_was_stopped_and_wakes_when_another_has_done_its_work_changes_nothing",
    ),
    "poison in a batch": (WIRES + "test_one_poison_in_ten_goes_to_the_dead_letters_and_its_redrive_changes_nothing",),
    "clock ten minutes off": (WIRES + "test_workers_whose_clocks_are_ten_minutes_apart",),
    "cold start storm": (PROCESSES + "test_a_storm_of_ten_cold_workers_with_the_same_bytes_makes_one_version",),
    "alias moves under load": (FLIPS,),
    "corrupt artefact": (
        CRASHES + "test_a_damaged_bundle_is_never_promoted",
        "tests/serving/test_bundles.py::test_a_byte_that_differs_is_refused_by_name",
    ),
    "missing manifest": ("tests/serving/test_bundles.py::test_a_folder_without_a_manifest_does_not_exist_yet",),
    "dead letters redriven twice": (
        WIRES + "test_a_message_redriven_twice_after_its_fault_has_passed_makes_one_version",
        WIRES + "test_one_poison_in_ten_goes_to_the_dead_letters_and_its_redrive_changes_nothing",
    ),
    "EventBridge off for an hour": (SWEPT, SILENCE, GIVEN_UP),
    "table lost and rebuilt": (
        EVENTS + "test_a_warm_door_answers_every_request_while_the_table_is_lost_and_rebuilt",
        "tests/fire/test_rebuild.py::test_a_registry_of_a_thousand_versions_comes_back_equal_within_a_minute",
        "tests/pipeline/test_dirty_stop.py::test_a_killed_stack_loses_nothing",
    ),
}
