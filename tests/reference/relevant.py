"""Which items are relevant to each other, written again in plain loops."""


def relevant_slowly(ids, columns, asked, shown):
    """Same item, same label, or a keyword in common within a group; groups alone by themselves."""
    row = {item: place for place, item in enumerate(ids)}

    def value(name, item):
        found = columns[name][row[item]] if name in columns else None
        return None if isinstance(found, float) else found

    def same(name, one, two):
        return value(name, one) is not None and value(name, one) == value(name, two)

    def answers(one, two):
        if one not in row or two not in row:
            return False
        if one == two or same("labels", one, two):
            return True
        if "keywords" in columns:
            words = [{w.lower() for w in value("keywords", i) or ()} for i in (one, two)]
            return bool(words[0] & words[1]) and (
                "groups" not in columns or same("groups", one, two)
            )
        return same("groups", one, two)

    return [[answers(one, two) for two in shown] for one in asked]
