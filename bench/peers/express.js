// express: Express as a peer of bench/http: `node express.js`, answers a prepaid query with a fixed body (BODY in the environment) at /plain, and at
// /v1/ingest-data, behind x402-express, with 402 and the price.  The facilitator is never asked: only a request with a payment would.
'use strict';
const express = require('express');
const { paymentMiddleware } = require('x402-express');

const app = express();
const body = process.env.BODY || '{}';
app.disable('x-powered-by');
app.disable('etag');
app.get('/plain', (request, response) => response.type('application/json').send(body));
app.use(paymentMiddleware('0x209693Bc6afc0C5328bA36FaF03C514EF312287C',
  { 'GET /v1/ingest-data': { price: '$0.001', network: 'base-sepolia' } }, { url: 'http://127.0.0.1:9' }));
app.get('/v1/ingest-data', (request, response) => response.type('application/json').send(body));
const server = app.listen(0, '127.0.0.1', () => console.log(`listening http=127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
