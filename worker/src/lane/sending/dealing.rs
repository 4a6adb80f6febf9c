//! The rows of a task go into parcels, or wait.

use super::*;

impl LaneOut {
    /// Whether a row for this target waits, or goes to its destination.
    #[inline(always)]
    pub(crate) fn slot(&mut self, outlet: usize, target: usize) -> Slot {
        let outlet = &mut self.outlets[outlet];
        let target = match &outlet.shared {
            None => target,
            Some(shared) => match shared.shuffle.only() {
                // Without a choice, the credit alone decides.
                Some(target) if shared.buffer.waiting() == 0 => target,
                _ => return Slot::Shared,
            },
        };
        if !outlet.waiting.is_empty() && outlet.waiting.contains_key(&target) {
            return Slot::Waiting(target);
        }
        if outlet.targets.is_empty() {
            outlet.targets.resize(self.graph.node(outlet.receiver).tasks.len(), Target::default());
        }
        let task = outlet.task(target);
        if outlet.targets[target].room == 0 {
            // What was sent by the last look must count before the next.
            outlet.settle(&self.port.credits);
            outlet.targets[target].room = self.port.credits.room(task);
            if outlet.targets[target].room == 0 {
                return Slot::Waiting(target);
            }
        }
        Slot::Load(self.ways[task as usize])
    }

    /// Where a run of rows goes together. A long run waits, to leave part by part as far as there is room.
    pub(crate) fn slot_of_run(&mut self, outlet: usize, rows: usize, heap: usize) -> Slot {
        match self.slot(outlet, 0) {
            Slot::Load(_) if rows >= 2 * FULL || (rows > 1 && heap >= FULL_BYTES) => {
                Slot::Waiting(self.chosen(outlet, 0))
            }
            slot => slot,
        }
    }

    /// The batch that the next row for a slot is pushed to.
    #[inline(always)]
    pub(crate) fn batch(&mut self, outlet: usize, slot: Slot) -> &mut Batch {
        self.outlets[outlet].batch(slot)
    }

    /// The target of a row for this one: where a shuffle has no choice, its only receiver.
    pub(crate) fn chosen(&self, outlet: usize, target: usize) -> usize {
        self.outlets[outlet].only().unwrap_or(target)
    }

    /// Reports the receiving task of the row that is pushed next to the shared rows of an outlet.
    pub(crate) fn watch(&mut self, outlet: usize, asker: Arc<RowTasks>, row: usize) {
        if let Some(shared) = &mut self.outlets[outlet].shared {
            shared.buffer.watch(asker, row);
        }
    }

    /// Lends the list of departed trees of a spout task, if rows for this slot depart immediately.
    pub(crate) fn departing(&mut self, member: MemberId, slot: Slot) -> Option<Vec<Root>> {
        if !matches!(slot, Slot::Load(_)) {
            return None;
        }
        self.departs_at.get_or_insert_with(|| self.clock.now());
        Some(mem::take(&mut self.member(member).departed.trees))
    }

    /// Takes the list of departed trees back.
    pub(crate) fn departed(&mut self, member: MemberId, trees: Vec<Root>) {
        self.member(member).departed.trees = trees;
    }

    /// Notes that a row of a tree departs.
    #[inline]
    pub(crate) fn depart_one(&mut self, member: MemberId, root: Root) {
        self.departs_at.get_or_insert_with(|| self.clock.now());
        self.member(member).departed.trees.push(root);
    }

    /// The rows of a task were dealt.
    #[inline]
    pub(crate) fn settle(&mut self, member: MemberId) {
        if let Some(now) = self.departs_at {
            self.member(member).departed.seal(now);
        }
    }

    /// Counts the rows that were pushed to the batch of a slot: the last `rows` ones, with this heap memory.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "plain facts about the rows")]
    pub(crate) fn pushed(
        &mut self,
        member: MemberId,
        outlet_id: usize,
        slot: Slot,
        target: usize,
        rows: usize,
        heap: usize,
        extra: usize,
    ) {
        let outlet = &mut self.outlets[outlet_id];
        match slot {
            Slot::Load(dest) => {
                let target = outlet.only().unwrap_or(target);
                let task = outlet.task(target);
                let bytes = heap + rows * row_bytes(outlet.source.fields.len());
                let (known, weight) = (&mut outlet.targets[target], (rows + extra) as u32);
                if known.weight == 0 {
                    outlet.untaken.push(target as u32);
                }
                known.weight += weight;
                known.bytes = known.bytes.saturating_add(bytes as u32);
                known.room = known.room.saturating_sub(weight);
                let lane = self.port.dest;
                let load = outlet.load(dest);
                let is_new = load.batch.rows == rows;
                load.note(lane, task, extra, bytes);
                let is_full = load.is_full();
                if is_new {
                    self.list_load(outlet_id, dest);
                }
                if is_full {
                    self.hand_over(dest, true);
                }
            }
            Slot::Waiting(target) => {
                let clock = self.clock;
                if let Some(waiting) = outlet.waiting.get_mut(&target) {
                    waiting.buffer.note(heap);
                    if waiting.buffer.waiting() == rows {
                        waiting.since = clock.now();
                    }
                }
                self.list_waiting(outlet_id);
                let member = self.member(member);
                member.waiting += rows;
                member.parked += rows;
                if rows > 1 {
                    self.send_parked(outlet_id);
                    self.send_full();
                }
            }
            Slot::Shared => {
                let mut is_full = false;
                if let Some(shared) = &mut outlet.shared {
                    shared.buffer.note(heap);
                    is_full = shared.buffer.waiting() >= shared.full_at;
                }
                self.list_waiting(outlet_id);
                let of = self.member(member);
                of.waiting += rows;
                let place = of.place;
                if let Some(turns) = self.turns.get_mut(&place) {
                    turns.leave(member);
                }
                if is_full {
                    self.share(outlet_id);
                    self.send_full();
                }
            }
        }
    }
}
