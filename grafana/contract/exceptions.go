package contract

// Exceptions are what may be otherwise, and why.
var Exceptions = []Exception{}
