//! The platform from outside. Modules in the order of the README's promises.

mod faults;
mod feed;
mod shutdown;
