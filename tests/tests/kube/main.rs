//! Galerna on a real Kubernetes: installed by its chart, hurt under load, upgraded and removed.
//!
//! The tests take the cluster that `KUBECONFIG` names, or start one of three nodes by the tools in
//! `../shared/kube` (`GALERNA_KUBE_TOOLS`); without either they are ignored, with the reason.
//! `GALERNA_KUBE_TESTS=all` runs those too that take longer, with the image of the release programs
//! instead of those of the tests (`GALERNA_KUBE_IMAGE`).

mod declared;
mod harness;
mod installed;
mod losses;
mod memory;
mod metrics;
mod nodes;
mod refusals;
mod upgrades;
mod values;

use std::process::ExitCode;

use harness::{Needs, Story, Test, World, run};

/// A line of the table below.
macro_rules! test {
    ($needs:ident, $length:ident, $module:ident::$name:ident) => {
        Test {
            name: concat!(stringify!($module), "::", stringify!($name)),
            needs: Needs::$needs,
            is_long: matches!(Length::$length, Length::Long),
            run: |world: &World| -> Story<'_> { Box::pin($module::$name(world)) },
        }
    };
}

/// Whether a test runs always.
#[allow(dead_code, reason = "each is named in the table")]
enum Length {
    Short,
    Long,
}

fn main() -> ExitCode {
    run(vec![
        test!(Kubernetes, Short, refusals::chart_is_clean_and_bad_values_are_refused_with_what_is_wrong),
        test!(Kubernetes, Short, values::each_value_changed_alone_gives_objects_that_the_api_server_accepts),
        test!(Kubernetes, Short, installed::empty_cluster_installed_and_bounded_topology_counted_exactly_in_90_s),
        test!(Kubernetes, Short, installed::helm_test_passes),
        test!(Kubernetes, Short, metrics::every_daemon_serves_its_own_series_and_says_that_it_is_ready),
        test!(Tools, Short, losses::supervisor_pod_deleted_its_tasks_run_elsewhere_and_nothing_is_lost),
        test!(Tools, Short, losses::supervisor_and_its_workers_killed_in_their_container_nothing_is_lost),
        test!(Tools, Long, losses::leading_nimbus_deleted_nobody_notices_and_another_leads),
        test!(Tools, Long, losses::etcd_pod_deleted_its_volume_kept_and_tuples_go_on),
        test!(Kubernetes, Long, memory::worker_over_its_share_is_ended_and_reported_while_its_container_goes_on),
        test!(Tools, Short, nodes::node_drained_its_tasks_move_with_less_than_a_second_without_output),
        test!(Tools, Long, nodes::node_vanishes_and_comes_back_and_nothing_is_lost),
        test!(Kubernetes, Long, declared::topologies_of_the_list_are_applied_and_pruned_when_taken_off),
        test!(Tools, Short, upgrades::image_upgraded_while_a_topology_runs_nothing_is_lost),
        test!(Tools, Long, upgrades::everything_restarted_at_once_nothing_is_lost),
        test!(Kubernetes, Short, installed::uninstalled_only_volume_claims_are_left),
    ])
}
