/** Gives every buffer back that it is given: what is left of a worker thread where its work costs nothing. */
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (body: ArrayBuffer) => parentPort?.postMessage(body, [body]));
