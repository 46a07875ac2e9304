// SPDX-License-Identifier: Apache-2.0
// An HTTP/2 origin over TLS: node h2_origin.js KEY CERTIFICATE prints its port. What it answers goes by path.
const http2 = require('http2'), fs = require('fs');
const server = http2.createSecureServer({ key: fs.readFileSync(process.argv[2]), cert: fs.readFileSync(process.argv[3]), maxSessionMemory: 1000 });
const own = (object, name) => object[Object.getOwnPropertySymbols(object).find((s) => String(s).includes(name))];
server.on('stream', (stream, headers) => {
    let size = 0;
    stream.on('error', () => {});
    stream.on('data', (d) => { size += d.length; });
    stream.on('end', () => {
        switch (headers[':path']) {
        case '/trailers':
            stream.respond({ ':status': 200 }, { waitForTrailers: true });
            stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7' }));
            return stream.end('hello');
        case '/big':
            stream.respond({ ':status': 200 });
            return stream.end(Buffer.alloc(10 << 20, 120));
        case '/steps': { // 4 MiB, as far as windows allow, after the first byte has had its effect on them
            const part = Buffer.alloc(65536, 120);
            let left = 64;
            const go = () => {
                while (left-- > 0)
                    if (!stream.write(part))
                        return stream.once('drain', go);
                stream.end();
            };
            stream.respond({ ':status': 200 });
            stream.write('x');
            return setTimeout(go, 100 + (stream.id % 64) * 30);
        }
        case '/short': // ends before its length
            stream.respond({ ':status': 200, 'content-length': 10 });
            return stream.end('hello');
        case '/reset':
            stream.respond({ ':status': 200 });
            stream.write('hel');
            return setTimeout(() => own(stream, 'kHandle')?.rstStream(2), 50);
        case '/many':
            stream.respond(Object.fromEntries([[':status', 200], ...Array.from({ length: 300 }, (_, i) => [`x-${i}`, '1'])]));
            return stream.end('hello');
        default:
            stream.respond({ ':status': 200, 'x-head': JSON.stringify(headers) });
            return stream.end(String(size));
        }
    });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
