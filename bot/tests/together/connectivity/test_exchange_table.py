"""The table of exchanges in the documentation is what the bot would say."""

from .exchange_table import BEGIN, END, PAGE, table


def test_the_page_says_what_the_bot_would_say():
    written = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    assert written.strip() == table()
