// SPDX-License-Identifier: Apache-2.0
// What Node's HTTP parser (strict, the default) reads: a server on the Unix socket argv[2] that prints a line of JSON per request
// and per connection, in the order of their ends. A connection is told by its number: the test makes one at a time.
const http = require('node:http');
let connections = 0;
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const server = http.createServer({ maxHeaderSize: 131072, insecureHTTPParser: false }, (request, response) => {
  const record = { connection: request.socket.number, method: request.method, target: request.url, host: request.headers.host ?? '' };
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    say({ ...record, body: Buffer.concat(parts).toString('hex') });
    response.end('ok');
  });
  request.on('error', () => {});
});
server.httpAllowHalfOpen = true;
server.maxHeadersCount = 0;
server.on('checkContinue', (request, response) => server.emit('request', request, response));
server.on('connection', (socket) => {
  socket.number = ++connections;
  socket.on('close', () => say({ connection: socket.number, closed: true }));
});
server.on('connect', (request, socket) => {
  say({ connection: socket.number, method: request.method, target: request.url, host: request.headers.host ?? '', body: '' });
  socket.end();
});
server.on('clientError', (error, socket) => {
  say({ connection: socket.number, refused: error.code });
  socket.destroy();
});
server.listen(process.argv[2], () => say({ ready: true }));
