//! Numbers of tasks, and how tasks are dealt to executors.

/// The number of a task: fixed for the life of its topology, counted from 1.
pub type TaskId = u32;

/// How many of `tasks` each of `executors` runs: as even as possible, the larger shares first.
///
/// Five tasks on three executors are `[2, 2, 1]`, as in Storm. With no executors there are no shares.
pub fn tasks_of_executors(tasks: u32, executors: u32) -> Vec<u32> {
    (0..executors).map(|executor| tasks / executors + u32::from(executor < tasks % executors)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tasks_on_three_executors_are_two_two_one() {
        assert_eq!(tasks_of_executors(5, 3), [2, 2, 1]);
        assert_eq!(tasks_of_executors(3, 3), [1, 1, 1]);
        assert_eq!(tasks_of_executors(0, 0), [0u32; 0]);
    }
}
