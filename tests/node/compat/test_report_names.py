from worldjockey.node.compat.report_names import with_old_names


def test_renamed_keys_are_there_under_both_names_wherever_they_lie():
    report = {"inputs": {"midi": {"error": "no JACK"}}, "rows": [{"errors": ["a"]}], "last error": "b", "size": 3}
    assert with_old_names(report) == {
        "inputs": {"midi": {"error": "no JACK", "fault": "no JACK"}}, "rows": [{"errors": ["a"], "faults": ["a"]}],
        "last error": "b", "last fault": "b", "size": 3,
    }  # fmt: skip
    assert "fault" not in report["inputs"]["midi"], "the report itself stays as it is"
