import { startBurst } from "./burst.js";
import { startChat } from "./chat.js";
import { startFleet } from "./fleet.js";

startBurst();
startChat();
startFleet();
