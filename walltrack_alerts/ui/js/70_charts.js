// ---- the charts, in pages.charts: read when they are shown ----
