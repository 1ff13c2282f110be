mod leases;
mod model;
mod records;
mod naive;
mod transactions;
mod watches;
