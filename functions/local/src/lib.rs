pub mod demo_servers;
