package simulator

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// The answer of exchangeInfo (exchanges.md §1.3): what a client of market data
// reads, and no more.
type exchangeInfo struct {
	Timezone        string       `json:"timezone"`
	ServerTime      int64        `json:"serverTime"`
	RateLimits      []rateLimit  `json:"rateLimits"`
	ExchangeFilters []string     `json:"exchangeFilters"`
	Symbols         []symbolInfo `json:"symbols"`
}

type rateLimit struct {
	Type        string `json:"rateLimitType"`
	Interval    string `json:"interval"`
	IntervalNum int    `json:"intervalNum"`
	Limit       int    `json:"limit"`
}

type symbolInfo struct {
	Symbol              string     `json:"symbol"`
	Status              string     `json:"status"`
	BaseAsset           string     `json:"baseAsset"`
	BaseAssetPrecision  int        `json:"baseAssetPrecision"`
	QuoteAsset          string     `json:"quoteAsset"`
	QuotePrecision      int        `json:"quotePrecision"`
	QuoteAssetPrecision int        `json:"quoteAssetPrecision"`
	OrderTypes          []string   `json:"orderTypes"`
	Spot                bool       `json:"isSpotTradingAllowed"`
	Filters             []any      `json:"filters"`
	Permissions         []string   `json:"permissions"`
	PermissionSets      [][]string `json:"permissionSets"`
}

type priceFilter struct {
	Type     string `json:"filterType"`
	MinPrice string `json:"minPrice"`
	MaxPrice string `json:"maxPrice"`
	TickSize string `json:"tickSize"`
}

type lotSize struct {
	Type     string `json:"filterType"`
	MinQty   string `json:"minQty"`
	MaxQty   string `json:"maxQty"`
	StepSize string `json:"stepSize"`
}

// exchangeInfo answers for all symbols, symbol=A, or symbols=["A","B"].
func (s *Simulator) exchangeInfo(q url.Values) ([]byte, error) {
	chosen, err := s.chosen(q)
	if err != nil {
		return nil, err
	}
	info := exchangeInfo{
		Timezone: "UTC", ServerTime: int64(s.clock.now()),
		RateLimits: []rateLimit{
			{"REQUEST_WEIGHT", "MINUTE", 1, s.limits.weight},
			{"RAW_REQUESTS", "MINUTE", 5, 300_000},
		},
		ExchangeFilters: []string{}, Symbols: []symbolInfo{},
	}
	for _, in := range chosen {
		tick, step := amountOf(in.lot.tick()).String(), amountOf(in.lot.step()).String()
		info.Symbols = append(info.Symbols, symbolInfo{
			Symbol: in.symbol, Status: "TRADING", BaseAsset: in.Base, QuoteAsset: in.Quote,
			BaseAssetPrecision: 8, QuotePrecision: 8, QuoteAssetPrecision: 8,
			OrderTypes: []string{"LIMIT", "MARKET"}, Spot: true,
			Filters: []any{
				priceFilter{"PRICE_FILTER", tick, "1000000.00000000", tick},
				lotSize{"LOT_SIZE", step, "9000000.00000000", step},
			},
			Permissions: []string{}, PermissionSets: [][]string{{"SPOT"}},
		})
	}
	return json.Marshal(info)
}

func (s *Simulator) chosen(q url.Values) ([]*instrument, error) {
	symbols := []string{q.Get("symbol")}
	switch {
	case q.Has("symbol") && q.Has("symbols"):
		return nil, &apiError{-1128, "Combination of optional parameters invalid."}
	case q.Has("symbols"):
		if json.Unmarshal([]byte(q.Get("symbols")), &symbols) != nil {
			return nil, &apiError{-1100, "Illegal characters found in parameter 'symbols'; legal range is '" + `^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$` + "'."}
		}
	case !q.Has("symbol"):
		return s.board.order, nil
	}
	var chosen []*instrument
	seen := make(map[string]bool)
	for _, symbol := range symbols {
		in, err := s.symbol(symbol)
		if err != nil {
			return nil, err
		}
		if seen[symbol] {
			return nil, &apiError{-1151, "Symbol is present multiple times in the list."}
		}
		seen[symbol] = true
		chosen = append(chosen, in)
	}
	return chosen, nil
}

// symbol checks the parameter's form first, then whether it is served.
func (s *Simulator) symbol(text string) (*instrument, error) {
	legal := len(text) >= 1 && len(text) <= 20
	for _, c := range []byte(text) {
		legal = legal && (c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if !legal {
		return nil, &apiError{-1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."}
	}
	in, ok := s.board.bySymbol[text]
	if !ok {
		return nil, &apiError{-1121, "Invalid symbol."}
	}
	return in, nil
}

// integer reads an optional parameter, or returns absent.
func integer(q url.Values, name string, absent int64) (int64, error) {
	if !q.Has(name) {
		return absent, nil
	}
	text := q.Get(name)
	if text == "" {
		return 0, &apiError{-1105, "Parameter '" + name + "' was empty."}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, &apiError{-1100, "Illegal characters found in parameter '" + name + "'; legal range is '^[0-9]{1,20}$'."}
	}
	return int64(n), nil
}
