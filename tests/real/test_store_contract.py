"""The store's contract, as tested on disk and in memory, holds on an S3 server: the same tests, another `store`."""

from __future__ import annotations

from tests.unit.tasks.store.test_blobs import (  # noqa: F401
    test_files_go_in_whole,
    test_of_racing_creators_exactly_one_wins,
    test_paths_cannot_leave_the_root,
    test_pickles_as_its_url,
    test_put_get_size_list_delete,
)
from tests.unit.tasks.store.test_lease import (  # noqa: F401
    fake,
    test_dead_process_on_this_host_is_taken_over_at_once,
    test_deleting_the_leases_under_a_holder_is_safe,
    test_epochs_never_go_back,
    test_heartbeat_renews_in_the_background_and_survives_hiccups,
    test_loser_waits_for_release_and_is_told_to_look_again,
    test_of_racing_claimants_one_holds,
    test_second_claimant_is_refused_until_release,
    test_silent_holder_is_taken_over_after_the_ttl_not_before,
)
from tests.unit.tasks.store.test_steps import (  # noqa: F401
    test_a_damaged_window_sends_everyone_to_the_commit_before,
    test_a_step_done_again_leaves_older_commits_as_they_were,
    test_parts_shared_by_two_commits_survive_the_pruning_of_one,
    test_zombie_cannot_commit_and_its_late_commits_are_void,
)
from tests.unit.tasks.store.test_store import (  # noqa: F401
    test_find_and_iterate,
    test_newer_epoch_replaces_older_result,
    test_of_racing_publishers_one_wins_and_both_see_it,
    test_part_from_a_file_is_the_same_part,
    test_part_that_went_away_is_not_published,
    test_publish_then_lookup,
    test_ref_leads_back_to_its_manifest,
    test_refresh_drops_the_steps_too_forget_does_not,
    test_unreadable_manifest_is_absent_and_replaced,
    test_zombie_cannot_publish,
    test_zombie_that_passed_its_check_in_time_cannot_replace_a_newer_result,
)
