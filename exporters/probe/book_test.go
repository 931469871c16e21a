package probe

import (
	"testing"
	"time"
)

func TestBook(t *testing.T) {
	var b book
	if _, known := b.receive(0, spot{}); known {
		t.Error("an empty book knows a canary")
	}
	first, back := b.send(time.Unix(1, 0), true)
	if before, known := b.receive(first, spot{1, 5}); !known || before.fate != underWay || !before.sent.Equal(time.Unix(1, 0)) || !before.timed {
		t.Errorf("got %+v, %v", before, known)
	}
	<-back
	if b.giveUp(first) {
		t.Error("gave up one that has come")
	}
	if _, known := b.receive(first, spot{1, 5}); known {
		t.Error("a record that is read again counts")
	}
	if before, _ := b.receive(first, spot{1, 6}); before.fate != came {
		t.Errorf("its copy was %v before", before.fate)
	}
	second, _ := b.send(time.Unix(2, 0), true)
	if !b.giveUp(second) || b.giveUp(second) {
		t.Error("one is given up once")
	}
	if before, _ := b.receive(second, spot{1, 7}); before.fate != givenUp {
		t.Errorf("one that is late was %v before", before.fate)
	}
	if before, _ := b.receive(second, spot{1, 8}); before.fate != came {
		t.Errorf("its copy was %v before", before.fate)
	}
	for range remembered - 1 {
		b.send(time.Unix(3, 0), true)
	}
	if _, known := b.receive(first, spot{1, 9}); known {
		t.Error("the book forgets nothing")
	}
	if _, known := b.receive(second, spot{1, 9}); !known {
		t.Error("the book forgets too early")
	}
	if _, known := b.receive(b.last+1, spot{1, 9}); known {
		t.Error("one is known before it is sent")
	}
}
