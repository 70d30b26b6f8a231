"""When to retrain: decay over versions or by backtest, what it costs, and the advice in words."""
