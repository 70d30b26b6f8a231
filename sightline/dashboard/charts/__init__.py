"""Charts as plain options of ECharts, and the tables that say the same."""
