// SPDX-License-Identifier: Apache-2.0
// Node as a client for clients.py: `node clients.js KIND ASK`, KIND http, https, http2 or fetch, ASK one line of JSON:
//
//     url, method, headers, file, size (a body: the first bytes of a file), trailers, expect (wait for 100), times (over one
//     connection), events (stop after so many), turns (send a line, wait for it to come back, so many times), ca
//
// It prints one line of JSON: an answer for each of `times`, with the body's digest and size, and what went wrong.
'use strict';
const http = require('http'), https = require('https'), http2 = require('http2'), fs = require('fs'), crypto = require('crypto');
const { Readable } = require('stream');
const kind = process.argv[2], ask = JSON.parse(process.argv[3]);
const ca = ask.ca ? fs.readFileSync(ask.ca) : undefined;

function file() {
    return ask.size > 0 ? fs.createReadStream(ask.file, { end: ask.size - 1, highWaterMark: 256 << 10 }) : Readable.from([]);
}

// Reads a body; true once there were as many events as asked for.
function reader(answer) {
    const hash = crypto.createHash('sha256');
    let text = '';
    answer.bytes = 0;
    return {
        take(chunk) {
            hash.update(chunk);
            answer.bytes += chunk.length;
            if (!ask.events) return false;
            text += chunk;
            answer.events = text.split('\n\n').length - 1;
            return answer.events >= ask.events;
        },
        end() { answer.sha256 = hash.digest('hex'); },
    };
}

// A line goes when the one before has come back.
function turns(request, response, answer) {
    answer.turns = 0;
    const next = () => answer.turns < ask.turns ? request.write(`turn ${answer.turns}\n`) : request.end();
    response.on('data', (chunk) => {
        if (`${chunk}` === `turn ${answer.turns}\n`) { answer.turns++; next(); }
    });
    next();
}

function body(request) {
    if (ask.turns) return;
    if (ask.file === undefined) { request.end(); return; }
    const send = () => {
        if (ask.trailers && request.addTrailers) request.addTrailers(ask.trailers);
        file().pipe(request);
    };
    if (ask.expect) request.on('continue', send);
    else send();
}

function overHttp1(agent) {
    return new Promise((done) => {
        const answer = { continued: false };
        const fail = (e) => { answer.error ??= e.code || e.message; done(answer); };
        const request = (kind === 'https' ? https : http).request(ask.url, { method: ask.method, headers: ask.headers, agent, ca });
        request.on('continue', () => { answer.continued = true; });
        request.on('error', fail);
        if (ask.turns) request.flushHeaders();
        body(request);
        request.on('response', (response) => {
            Object.assign(answer, { status: response.statusCode, headers: response.rawHeaders, reused: request.reusedSocket });
            if (ask.turns) turns(request, response, answer);
            const r = reader(answer);
            response.on('error', fail);
            response.on('data', (chunk) => {
                if (r.take(chunk)) { done(answer); request.destroy(); }
            });
            response.on('end', () => { r.end(); answer.trailers = response.trailers; done(answer); });
        });
        // A body that no answer asked for must not come first.
        if (ask.turns) request.write('');
    });
}

function overHttp2(session) {
    return new Promise((done) => {
        const answer = { continued: false, headers: [] }, url = new URL(ask.url);
        const request = session.request({ ':path': url.pathname + url.search, ':method': ask.method, ...ask.headers },
            { endStream: ask.file === undefined && !ask.turns, waitForTrailers: !!ask.trailers });
        request.on('wantTrailers', () => request.sendTrailers(ask.trailers));
        request.on('continue', () => { answer.continued = true; });
        request.on('error', (e) => { answer.error ??= e.message; done(answer); });
        if (ask.file !== undefined) body(request);
        request.on('response', (headers) => {
            answer.status = headers[':status'];
            for (const [name, value] of Object.entries(headers))
                for (const v of Array.isArray(value) ? value : [value]) if (name[0] !== ':') answer.headers.push(name, `${v}`);
        });
        request.on('trailers', (t) => { answer.trailers = { ...t }; });
        if (ask.turns) turns(request, request, answer);
        const r = reader(answer);
        request.on('data', (chunk) => {
            if (r.take(chunk)) { done(answer); request.close(http2.constants.NGHTTP2_CANCEL); }
        });
        request.on('end', () => { r.end(); });
        request.on('close', () => { if (request.rstCode) answer.error ??= `reset ${request.rstCode}`; done(answer); });
    });
}

async function overFetch() {
    const answer = {}, r = reader(answer);
    try {
        const init = { method: ask.method, headers: ask.headers };
        if (ask.file !== undefined) Object.assign(init, { body: Readable.toWeb(file()), duplex: 'half' });
        const response = await fetch(ask.url, init);
        answer.status = response.status;
        answer.headers = [...response.headers].flat();
        for await (const chunk of response.body ?? []) {
            if (r.take(Buffer.from(chunk))) return answer;
        }
        r.end();
    } catch (e) {
        answer.error = e.cause?.code || e.message;
    }
    return answer;
}

(async () => {
    const answers = [];
    const agent = kind === 'https' ? new https.Agent({ keepAlive: true, maxSockets: 1 }) : new http.Agent({ keepAlive: true, maxSockets: 1 });
    const session = kind === 'http2' ? http2.connect(new URL(ask.url).origin, { ca }) : null;
    session?.on('error', (e) => { console.log(JSON.stringify([{ error: e.code || e.message }])); process.exit(0); });
    for (let i = 0; i < (ask.times || 1); i++)
        answers.push(await (kind === 'fetch' ? overFetch() : kind === 'http2' ? overHttp2(session) : overHttp1(agent)));
    console.log(JSON.stringify(answers));
    process.exit(0);
})();
