//! The dispatcher against a real log, a real database and the local Altinn.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod in_force;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod matching;
#[cfg(test)]
mod order;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod push;
#[cfg(test)]
mod rebalance;
#[cfg(test)]
mod retry;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod subunits;
