mod leases;
mod model;
mod naive;
mod transactions;
mod watches;
