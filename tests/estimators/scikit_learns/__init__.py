"""scikit-learn's own tests of the two classes that our estimators stand in for, with our estimators in their place."""
