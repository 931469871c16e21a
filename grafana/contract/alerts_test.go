package contract_test

import "testing"

func (d *demo) alerts(t *testing.T) {}
