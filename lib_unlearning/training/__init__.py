"""How models come to be: tasks, trainers of scikit-learn estimators and of networks, alone or in stacks."""
