mod leases;
mod model;
mod naive;
mod records;
mod transactions;
mod watches;
