package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/candlestack/candlestack/services/pipeline"
)

// What Examine asks of a server.
const (
	oldestMajor    = 6
	maxClockOffset = time.Second
)

// Examine looks at version, kind, rights, clock, layout and features. It changes
// nothing.
func (s *Sink) Examine(ctx context.Context) []pipeline.Finding {
	var findings []pipeline.Finding
	for _, look := range []struct {
		subject string
		at      func(context.Context) (detail string, ok bool, err error)
	}{
		{"mongodb server", s.examineServer},
		{"mongodb rights", s.examineRights},
		{"mongodb clock", s.examineClock},
		{"mongodb layout", s.examineLayout},
		{"mongodb features", s.examineFeatures},
	} {
		detail, ok, err := look.at(ctx)
		if err != nil {
			detail, ok = fmt.Sprintf("%s: %v", s.server, err), false
		}
		findings = append(findings, pipeline.Finding{Subject: look.subject, Detail: detail, OK: ok})
		if err != nil && look.subject == "mongodb server" {
			break // the others would say the same
		}
	}
	return findings
}

// ask runs a command on the database admin.
func (s *Sink) ask(ctx context.Context, command bson.D, answer any) error {
	return classify(ctx, s.client.Database("admin").RunCommand(ctx, command).Decode(answer))
}

type hello struct {
	SetName   string    `bson:"setName"`
	Msg       string    `bson:"msg"`
	Writable  bool      `bson:"isWritablePrimary"`
	LocalTime time.Time `bson:"localTime"`
}

func (s *Sink) examineServer(ctx context.Context) (string, bool, error) {
	var h hello
	if err := s.ask(ctx, bson.D{{Key: "hello", Value: 1}}, &h); err != nil {
		return "", false, err
	}
	var build struct {
		Version      string  `bson:"version"`
		VersionArray []int32 `bson:"versionArray"`
		FerretDB     struct {
			Version string `bson:"version"`
		} `bson:"ferretdb"`
	}
	if err := s.ask(ctx, bson.D{{Key: "buildInfo", Value: 1}}, &build); err != nil {
		return "", false, err
	}
	detail := "MongoDB " + build.Version
	if build.FerretDB.Version != "" {
		detail = fmt.Sprintf("FerretDB %s, speaks MongoDB %s", build.FerretDB.Version, build.Version)
	}
	switch {
	case h.SetName != "":
		detail += ", replica set " + h.SetName
	case h.Msg == "isdbgrid":
		detail += ", sharded cluster"
	default:
		detail += ", standalone"
	}
	switch {
	case !h.Writable:
		return detail + ": takes no writes", false, nil
	case len(build.VersionArray) == 0 || build.VersionArray[0] < oldestMajor:
		return fmt.Sprintf("%s: older than %d", detail, oldestMajor), false, nil
	}
	return detail, true, nil
}

// privilege is what a user may do with a resource, as connectionStatus tells it.
type privilege struct {
	Resource struct {
		DB          *string `bson:"db"`
		Collection  string  `bson:"collection"`
		AnyResource bool    `bson:"anyResource"`
	} `bson:"resource"`
	Actions []string `bson:"actions"`
}

// examineRights asks for a post, which needs a right where rights are asked for,
// and for what else the user may do.
func (s *Sink) examineRights(ctx context.Context) (string, bool, error) {
	err := s.posts.FindOne(ctx, bson.D{}).Err()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return "", false, classify(ctx, err)
	}
	var status struct {
		AuthInfo struct {
			Users []struct {
				User string `bson:"user"`
				DB   string `bson:"db"`
			} `bson:"authenticatedUsers"`
			Privileges []privilege `bson:"authenticatedUserPrivileges"`
		} `bson:"authInfo"`
	}
	if err := s.ask(ctx, bson.D{{Key: "connectionStatus", Value: 1}, {Key: "showPrivileges", Value: true}}, &status); err != nil {
		return "", false, err
	}
	info := status.AuthInfo
	switch {
	case len(info.Users) == 0:
		return "may read; nobody is logged in, so the server seems to let everybody write", true, nil
	case len(info.Privileges) == 0:
		return fmt.Sprintf("may read as %s; the server does not say what else", info.Users[0].User), true, nil
	}
	var missing []string
	for _, collection := range []string{collectionPosts, collectionSnapshots} {
		for _, action := range []string{"find", "insert", "update"} {
			if !allows(info.Privileges, s.posts.Database().Name(), collection, action) {
				missing = append(missing, action+" on "+collection)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Sprintf("%s may not %s", info.Users[0].User, strings.Join(missing, ", ")), false, nil
	}
	return info.Users[0].User + " may write", true, nil
}

func allows(privileges []privilege, database, collection, action string) bool {
	for _, p := range privileges {
		r := p.Resource
		here := r.AnyResource || r.DB != nil && (*r.DB == "" || *r.DB == database) && (r.Collection == "" || r.Collection == collection)
		if here && slices.Contains(p.Actions, action) {
			return true
		}
	}
	return false
}

// examineClock matters for people only: posts carry their own clocks.
func (s *Sink) examineClock(ctx context.Context) (string, bool, error) {
	var h hello
	asked := time.Now()
	if err := s.ask(ctx, bson.D{{Key: "hello", Value: 1}}, &h); err != nil {
		return "", false, err
	}
	taken := time.Since(asked)
	offset := h.LocalTime.Sub(asked.Add(taken / 2)).Round(time.Millisecond)
	return fmt.Sprintf("offset %s, asked within %s", offset, taken.Round(time.Microsecond)), offset.Abs() <= maxClockOffset, nil
}

func (s *Sink) examineLayout(ctx context.Context) (string, bool, error) {
	version, err := s.layout(ctx)
	switch {
	case err != nil:
		return "", false, err
	case version > layoutVersion:
		return fmt.Sprintf("version %d is newer than this program's %d", version, layoutVersion), false, nil
	case version < layoutVersion:
		return fmt.Sprintf("version %d, will be brought to %d at start", version, layoutVersion), true, nil
	}
	return fmt.Sprintf("version %d", version), true, nil
}

// examineFeatures tells what is there. What is not does no harm.
func (s *Sink) examineFeatures(ctx context.Context) (string, bool, error) {
	there, err := s.look(ctx)
	if err != nil {
		return "", false, err
	}
	has := map[feature]bool{featureText: slices.Contains(there.indexes[textIndex.collection], textIndex.name), featureViews: true, featureValidator: true}
	for _, v := range views {
		has[featureViews] = has[featureViews] && there.kinds[v.name] == "view"
	}
	for _, v := range validators {
		has[featureValidator] = has[featureValidator] && there.valid(v.collection, v.schema)
	}
	parts := make([]string, len(features))
	for i, f := range features {
		parts[i] = string(f) + map[bool]string{true: " yes", false: " no"}[has[f]]
	}
	return strings.Join(parts, ", "), true, nil
}
