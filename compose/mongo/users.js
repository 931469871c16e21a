// Makes the server a replica set of one and the users who are missing; runs at every start, and changes nothing that is there.
const fs = require("fs");
const secret = (name) => fs.readFileSync("/run/secrets/" + name, "utf8").trim();

const server = new Mongo(`mongodb://root:${encodeURIComponent(secret("mongo-root-password"))}@mongo:27017/?directConnection=true`);
const admin = server.getDB("admin");

if (!admin.runCommand({ hello: 1 }).setName) {
  try {
    admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] } });
  } catch (e) {
    if (e.codeName !== "AlreadyInitialized") throw e; // it has just started, and not read yet what it is
  }
}
for (let i = 0; !admin.runCommand({ hello: 1 }).isWritablePrimary; i++) {
  if (i === 300) throw new Error("mongo has not become primary in a minute");
  sleep(200);
}

const users = {
  candlestack: ["mongo-password", [{ role: "readWrite", db: "news" }, { role: "dbAdmin", db: "news" }]],
  reader: ["mongo-reader-password", [{ role: "read", db: "news" }]],
  exporter: ["mongo-exporter-password", [{ role: "clusterMonitor", db: "admin" }, { role: "read", db: "local" }, { role: "read", db: "news" }]],
};
const known = (admin.runCommand({ usersInfo: 1 }).users || []).map((u) => u.user);
for (const [user, [password, roles]] of Object.entries(users)) {
  if (!known.includes(user)) admin.createUser({ user, pwd: secret(password), roles });
}
