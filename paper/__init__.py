"""The tables and figures of Han, Wallace & Tsvetkov (2020), rerun stage by stage; see README.md."""
