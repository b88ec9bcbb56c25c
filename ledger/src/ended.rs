//! What ended and is remembered, in the order in which it ended: it is forgotten in that order, too.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::Places;
use crate::request::{End, Ended, Id, Request};
use crate::requests::TenantSerial;
use crate::time::Time;

/// Records of one row. What comes and goes by rows is never moved, however many there are.
const ROW: usize = 256;
/// Rows are told apart by their number less so many, which is far more than there are at once.
const ROWS: u32 = 1 << 23;

/// A request that is gone, and whose it was.
#[derive(Clone, Debug)]
pub(crate) struct EndedRecord {
    request: Arc<Request>,
    id: Id,
    at: Time,
    /// The low parts of the tenant's serial: of a million tenants made each second they last for nine years.
    tenant: [u16; 3],
    end: End,
    admitted: bool,
}

impl EndedRecord {
    pub(crate) fn new(ended: Ended, TenantSerial(tenant): TenantSerial) -> Self {
        let Ended { id, request, end, admitted, at } = ended;
        let tenant = [tenant as u16, (tenant >> 16) as u16, (tenant >> 32) as u16];
        Self { request, id, at, tenant, end, admitted }
    }

    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.request
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn at(&self) -> Time {
        self.at
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Whether it had been admitted.
    pub(crate) fn admitted(&self) -> bool {
        self.admitted
    }

    pub(crate) fn tenant(&self) -> TenantSerial {
        let [low, middle, high] = self.tenant.map(u64::from);
        TenantSerial(low | middle << 16 | high << 32)
    }

    /// As it is shown.
    pub(crate) fn ended(&self) -> Ended {
        let Self { request, id, at, tenant: _, end, admitted } = self;
        Ended { id: *id, request: Arc::clone(request), end: *end, admitted: *admitted, at: *at }
    }
}

/// What ended and is remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    /// The first that ended in the first of them, none empty but where there is nothing.
    rows: VecDeque<Vec<Option<EndedRecord>>>,
    /// How many of the first row are forgotten.
    forgotten: usize,
    /// Rows that are gone: by them it is told which row a place is in.
    gone: u32,
    places: Places,
}

impl Endings {
    pub(crate) fn len(&self) -> usize {
        // All rows but the last are full.
        self.rows.back().map_or(0, |last| (self.rows.len() - 1) * ROW + last.len()) - self.forgotten
    }

    pub(crate) fn get(&self, id: Id) -> Option<&EndedRecord> {
        let place = self.places.get(id)?;
        let row = (place / ROW as u32).wrapping_sub(self.gone) % ROWS;
        self.rows.get(row as usize)?.get(place as usize % ROW)?.as_ref()
    }

    /// One ended, after all others.
    pub(crate) fn push(&mut self, record: EndedRecord) {
        if self.rows.back().is_none_or(|row| row.len() == ROW) {
            self.rows.push_back(Vec::with_capacity(ROW));
        }
        let before = self.gone.wrapping_add(self.rows.len() as u32 - 1) % ROWS * ROW as u32;
        if let Some(row) = self.rows.back_mut() {
            self.places.set(record.id, before + row.len() as u32);
            row.push(Some(record));
        }
    }

    /// The first that ended.
    pub(crate) fn first(&self) -> Option<&EndedRecord> {
        self.rows.front()?.get(self.forgotten)?.as_ref()
    }

    /// Forgets the first that ended.
    pub(crate) fn forget_first(&mut self) -> Option<EndedRecord> {
        let record = self.rows.front_mut()?.get_mut(self.forgotten)?.take()?;
        let place = self.gone % ROWS * ROW as u32 + self.forgotten as u32;
        if self.places.get(record.id) == Some(place) {
            self.places.remove(record.id);
        }
        self.forgotten += 1;
        if self.forgotten == ROW {
            self.rows.pop_front();
            (self.forgotten, self.gone) = (0, self.gone.wrapping_add(1));
        }
        Some(record)
    }

    /// All, the first that ended first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EndedRecord> {
        self.rows.iter().flatten().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{EndedRecord, Endings, ROW, ROWS};
    use crate::Amounts;
    use crate::name::{Name, RequestId, TenantPath};
    use crate::request::{End, Ended, Id, Request};
    use crate::requests::TenantSerial;
    use crate::time::Time;

    fn record(id: u64) -> EndedRecord {
        let name = |text| RequestId::parse(text).expect("an id");
        let (tenant, pool) = (TenantPath::parse("a").expect("a path"), Name::parse("p").expect("a name"));
        let request = Arc::new(Request::new(name("r"), tenant, pool, Amounts::default()));
        let at = Time::from_nanos(id);
        EndedRecord::new(
            Ended { id: Id(id), request, end: End::Released, admitted: true, at },
            TenantSerial(id << 40 | id),
        )
    }

    #[test]
    fn what_ended_first_is_forgotten_first() {
        // Rows are counted beyond what their number holds.
        for gone in [0, ROWS - 2, u32::MAX - 1] {
            let mut endings = Endings { gone, ..Endings::default() };
            let known = |endings: &Endings, id| endings.get(Id(id)).map(|record| (record.id(), record.at().nanos()));
            let all = 5 * ROW as u64;
            for id in 0..all {
                endings.push(record(id));
                if id % 3 == 0 {
                    assert_eq!(endings.first().map(EndedRecord::id), Some(Id(id / 3)));
                    assert_eq!(endings.forget_first().map(|record| record.id()), Some(Id(id / 3)));
                    assert_eq!(
                        (known(&endings, id / 3), known(&endings, id)),
                        (None, Some((Id(id), id)).filter(|_| id > 0))
                    );
                }
            }
            let left = all.div_ceil(3)..all;
            assert!(
                endings.iter().map(|record| record.id().0).eq(left.clone()) && endings.len() as u64 == all - left.start
            );
            for id in left {
                assert_eq!(known(&endings, id), Some((Id(id), id)));
                assert_eq!(
                    endings.forget_first().map(|record| record.tenant().0),
                    Some((id << 40 | id) & (u64::MAX >> 16))
                );
            }
            assert!(endings.forget_first().is_none() && endings.len() == 0 && endings.rows.len() <= 1);
        }
    }
}
