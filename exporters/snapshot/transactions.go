package snapshot

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seldom asks for what changes slowly or costs brokers much, where it is time again.
func (l *look) seldom(ctx context.Context, topics []Topic) {
	if l.cfg.Refresh.LogDirs == 0 || l.now.Sub(l.seldomAt) < l.cfg.Refresh.LogDirs {
		return
	}
	l.seldomAt = l.now
	l.transactions(ctx)
	l.logDirs(ctx, topics) // last: what is asked after it waits for it
}

// transactions asks all brokers for those that they coordinate.
func (l *look) transactions(ctx context.Context) {
	defer l.timed(phaseTransactions)()
	l.txns = make(map[int32]*Transactions, len(l.brokers))
	if !l.has(kmsg.ListTransactions) || !l.has(kmsg.DescribeTransactions) {
		return
	}
	each(l.brokers, func(id int32) {
		found := l.transactionsOf(ctx, id)
		l.mu.Lock()
		defer l.mu.Unlock()
		if found != nil {
			l.txns[id] = found
		}
	})
}

// complete are the states in which a transactional id has no transaction.
var complete = []string{"Empty", "CompleteCommit", "CompleteAbort", "Dead"}

// transactionsOf asks one broker. nil: it does not tell, or not all.
func (l *look) transactionsOf(ctx context.Context, broker int32) *Transactions {
	listed, err := ask[*kmsg.ListTransactionsResponse](ctx, l, broker, kmsg.NewPtrListTransactionsRequest())
	if err != nil || !l.code(kmsg.ListTransactions, listed.ErrorCode) {
		return nil
	}
	found := &Transactions{IDs: len(listed.TransactionStates)}
	req := kmsg.NewPtrDescribeTransactionsRequest()
	for _, t := range listed.TransactionStates {
		if !slices.Contains(complete, t.TransactionState) {
			req.TransactionalIDs = append(req.TransactionalIDs, t.TransactionalID)
		}
	}
	if len(req.TransactionalIDs) == 0 {
		return found
	}
	resp, err := ask[*kmsg.DescribeTransactionsResponse](ctx, l, broker, req)
	if err != nil {
		return nil
	}
	for _, t := range resp.TransactionStates {
		if !l.code(kmsg.DescribeTransactions, t.ErrorCode) {
			return nil
		}
		if t.StartTimestamp >= 0 && !slices.Contains(complete, t.State) { // it may be complete by now
			found.Longest = max(found.Longest, l.now.Sub(time.UnixMilli(t.StartTimestamp)))
		}
	}
	return found
}
