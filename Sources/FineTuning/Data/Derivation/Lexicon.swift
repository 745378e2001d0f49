// The words that questions are derived from: what can be asked for, and which words of a caption speak for it or leave it
// open.
//
// Invariant: a thing is denied for a photo only where no caption has one of its words, plurals, synonyms and kinds, nor a
// word that leaves it open ("bike" leaves open whether it is a motorcycle, "people" whether there is a man). Things that
// captions do not care to mention (hands, walls, the sky) are not here: their absence from captions says nothing.

/// Something that a photo shows or does not show.
struct Thing: Sendable {
    /// Its name in questions, in the singular.
    let name: String
    /// Whether it takes no article.
    let isMass: Bool
    /// Singular and plural for counting; nil where it is not counted.
    let counted: (singular: String, plural: String)?
    /// Words that say it is there.
    let forms: Set<String>
    /// Words that leave it open.
    let open: Set<String>
}

/// The tables.
enum Lexicon {
    /// Words for people whose age and sex they leave open.
    static let people = words(
        """
        person people persons human adult adults someone somebody group couple family crowd audience team teammate \
        teammates player players rider riders racer racers surfer surfers skater skaters skateboarder skateboarders \
        snowboarder snowboarders skier skiers biker bikers bicyclist bicyclists cyclist cyclists climber climbers hiker \
        hikers runner runners swimmer swimmers worker workers driver drivers passenger passengers pedestrian pedestrians \
        spectators spectator onlookers performer performers dancer dancers musician musicians band friend friends \
        goalie pitcher batter catcher motorcyclist diver teenager teenagers teens teen youth youths asian baby babies \
        chef officer police soldier soldiers fans members owner boarder child children kid kids toddler toddlers
        """)

    /// Words for men and women, boys and girls.
    private static let named = words(
        "man men woman women guy guys lady ladies boy boys girl girls gentleman bride groom male female")

    /// What can be asked for: `name | words that say so | words that leave it open`, the first two words singular and
    /// plural; `~` before a name: without article; `=`: not counted.
    static let things: [Thing] = parse(
        """
        =person | person people @named @people | hand hands his her their he she him who they wearing
        man | man men guy guys gentleman gentlemen businessman groom cowboy | @people male boy boys he his him
        woman | woman women lady ladies bride | @people female girl girls she her
        boy | boy boys | @people male man men guy guys he his him
        girl | girl girls | @people female woman women lady ladies she her
        child | child children kid kids toddler toddlers | @people @named young little
        =baby | baby babies infant infants | child children toddler toddlers kid kids family little small
        =crowd | crowd crowds audience spectators | people group many parade fans watching watch busy concert stadium \
        game onlookers crowded festival protest
        dog | dog dogs puppy puppies terrier retriever greyhound greyhounds poodle collie dachshund hound hounds mutt \
        dalmatian rottweiler labrador corgi beagle spaniel doggy pug | animal animals shepherd lab pet pets husky pack
        cat | cat cats kitten kittens kitty | animal animals pet pets
        horse | horse horses pony ponies stallion horseback | animal animals rodeo cowboy carriage equestrian jockey bronco \
        mule donkey
        bird | bird birds pigeon pigeons seagull seagulls duck ducks goose geese parrot parrots swan swans eagle owl \
        chicken chickens hen rooster flamingo pelican | animal animals flock feathers
        cow | cow cows cattle calf bull bulls | animal animals herd ox rodeo livestock
        =sheep | sheep lamb lambs ram | animal animals herd goat goats livestock
        giraffe | giraffe giraffes | animal animals
        zebra | zebra zebras | animal animals
        elephant | elephant elephants | animal animals
        bear | bear bears | animal animals cub cubs
        car | car cars automobile sedan taxi taxis cab cabs convertible | vehicle vehicles traffic van vans suv jeep \
        street road parking parked racetrack truck limo highway
        bus | bus buses trolley | vehicle vehicles traffic van coach
        truck | truck trucks pickup lorry | vehicle vehicles traffic van jeep tractor trailer
        train | train trains locomotive locomotives | engine track tracks railroad railway rail station subway trolley \
        tram vehicle platform
        boat | boat boats canoe canoes kayak kayaks sailboat sailboats ship ships raft rafts rowboat speedboat ferry | \
        vessel vessels paddle paddling rowing dock docked harbor marina pier kayaking kayaker rafting sail sailing \
        watercraft rapids row rowers
        bike | bike bikes bicycle bicycles | bmx motorcycle motorcycles motorbike motorbikes motocross moped scooter \
        biker bikers biking cyclist cyclists bicyclist bicyclists cycling rider riders riding race racing racer \
        motorcyclist vehicle
        motorcycle | motorcycle motorcycles motorbike motorbikes motorcyclist | bike bikes biker bikers motocross scooter \
        moped vehicle rider riders riding dirt racer
        airplane | airplane airplanes plane planes jet jets aircraft airliner biplane | airport runway flight jetliner \
        helicopter glider aviation
        skateboard | skateboard skateboards skateboarder skateboarders skateboarding | skater skaters board boards skating \
        skate skates ramp rail trick tricks boarder
        =snowboard | snowboard snowboards snowboarder snowboarders snowboarding | board boards boarder ski skis skier \
        skiers skiing slope trick tricks
        =skier | skier skiers | ski skis skiing snowboarder snowboarders @people
        surfboard | surfboard surfboards surfer surfers surfing | surf surfs board boards wave waves boarder wakeboard
        umbrella | umbrella umbrellas parasol | shade canopy
        frisbee | frisbee frisbees | disc disk toy catch
        =ball | ball balls | football soccer basketball baseball volleyball tennis golf toy game player players bowling \
        rugby hockey catch pitcher batter lacrosse cricket pitch goal sport sports polo dodgeball playing play plays
        kite | kite kites | parachute flying
        guitar | guitar guitars | band instrument instruments musician musicians music concert bass perform performs \
        performing
        =microphone | microphone microphones | sing sings singing singer band stage concert perform performs performing \
        performer karaoke speaks speech mic
        bench | bench benches | seat seats sit sits sitting seated
        chair | chair chairs | seat seats seated sit sits sitting couch stool stools furniture table tables sofa room \
        desk dining restaurant office kitchen stroller
        =couch | couch couches sofa sofas | furniture living seat room loveseat
        =table | table tables | desk counter dining kitchen food plate plates restaurant furniture room meal pizza cake \
        sitting eating bowl dinner lunch office bench
        =bed | bed beds | bedroom hotel mattress sleeping asleep room bunk
        =toilet | toilet toilets urinal urinals | bathroom restroom stall bath
        =sink | sink sinks | bathroom kitchen restroom counter faucet bath
        =refrigerator | refrigerator fridge refrigerators | kitchen appliances
        =laptop | laptop laptops | computer computers desk keyboard office notebook device
        =clock | clock clocks | tower watch station time
        pizza | pizza pizzas | food slice slices meal pie
        =cake | cake cakes cupcake cupcakes | food dessert desserts birthday candles pastry pastries sweet treat bakery
        =sandwich | sandwich sandwiches burger hamburger | food bread meal lunch sub bun toast
        =broccoli | broccoli | vegetable vegetables veggies food meal plate salad dish
        banana | banana bananas | fruit fruits food
        =phone | phone phones cellphone cellphones | talking device call cell
        =fire hydrant | hydrant hydrants |
        =backpack | backpack backpacks | hiking hiker hikers bag bags pack packs luggage
        =book | book books | reading read reads magazine newspaper paper library novel shelf
        =balloon | balloon balloons | party birthday
        =flag | flag flags | banner parade
        =statue | statue statues sculpture sculptures | monument fountain stone
        =bridge | bridge bridges | overpass walkway
        =fountain | fountain fountains | water
        =trampoline | trampoline | bouncing bounces
        =ramp | ramp ramps halfpipe | skateboard skateboarder skateboarding skate skater trick tricks jump pipe
        =fence | fence fences fenced | railing gate enclosure pen yard zoo baseball barrier rail
        =rope | rope ropes | climbing climber climbs climb leash string swing harness tug lasso
        ~snow | snow snowy snowboard snowboarder snowboarders snowboarding | winter ski skier skiers skiing skis sled \
        sledding ice icy mountain mountains slope slopes cold snowball white snowmobile
        =beach | beach beaches | sand sandy ocean shore shoreline sea surf coast coastline waves seaside water
        =ocean | ocean oceans sea | water beach shore wave waves surf surfs surfer surfers surfing surfboard boat coast \
        lake shoreline bay
        ~water | water waters ocean sea lake river pond pool waves creek stream waterfall puddle | swim swims swimming \
        surf surfs surfer surfers surfing surfboard boat boats splash splashes splashing wet beach rain raft rafting \
        canoe kayak kayaking kayaker dock wading bath bathing fishing shore wave duck ducks sprinkler fountain rapids \
        wakeboard wakeboarder diving swimmer hose harbor pier ship island sink tub bathtub
        =swimming pool | pool pools | swim swims swimming swimmer swimmers water diving bathing diver slide splash \
        splashing float
        ~grass | grass grassy lawn | field fields park yard backyard garden meadow hill hillside pasture green outside \
        outdoors outdoor soccer football baseball golf grazing dog dogs savannah plain tall ground horse horses cow cows \
        zebra zebras giraffe giraffes elephant sheep tree trees
        =mountain | mountain mountains mountainside mountaintop | hill hills cliff cliffs rock rocks rocky slope slopes \
        ski skier skiers skiing skis snow snowy snowboarder landscape hiking hiker climbing climber climbs climb peak \
        ledge background canyon hikers view
        =street | street streets road roads highway | sidewalk city traffic intersection car cars bus buses parade \
        pavement path track bike bikes parked curb crosswalk urban truck motorcycle motorcycles driving town corner \
        race racing sign cyclists marathon stop alley driveway bicycle skateboard running bicycles
        ~sand | sand sandy | beach beaches shore ocean desert dirt sandbox volleyball dune dunes coast seaside
        """)

    /// Colours, by the name that an answer gives them; nil: a shade that is no answer but speaks against others.
    static let colours: [String: String?] = [
        "red": "red", "blue": "blue", "green": "green", "yellow": "yellow", "black": "black", "white": "white",
        "brown": "brown", "orange": "orange", "pink": "pink", "purple": "purple", "gray": "gray", "grey": "gray",
        "tan": nil, "golden": nil, "gold": nil, "silver": nil, "blond": nil, "blonde": nil, "beige": nil, "maroon": nil,
        "teal": nil, "cream": nil, "striped": nil, "multicolored": nil, "colorful": nil, "plaid": nil, "turquoise": nil,
        "navy": nil, "checkered": nil, "spotted": nil,
    ]

    /// What a colour is asked of: singular and plural; `*`: the plural is the thing's only form.
    static let coloured: [(name: String, singular: String, plural: String, isPlural: Bool)] = lines(
        """
        shirt shirts, jacket jackets, hat hats, dress dresses, coat coats, sweater sweaters, vest vests, uniform uniforms, \
        suit suits, swimsuit swimsuits, helmet helmets, cap caps, skirt skirts, scarf scarves, tie ties, outfit outfits, \
        car cars, truck trucks, bus buses, train trains, boat boats, bike bikes, bicycle bicycles, motorcycle motorcycles, \
        plane planes, airplane airplanes, ball balls, frisbee frisbees, umbrella umbrellas, kite kites, dog dogs, cat cats, \
        horse horses, cow cows, bird birds, couch couches, chair chairs, wall walls, door doors, building buildings, \
        flower flowers, fence fences, toy toys, surfboard surfboards, skateboard skateboards, bag bags, \
        backpack backpacks, bench benches, slide slides, kayak kayaks, canoe canoes, raft rafts, costume costumes, \
        jersey jerseys, sweatshirt sweatshirts, top tops, bear bears, hydrant hydrants, blanket blankets, *pants, *shorts, \
        *trunks, *gloves, *socks, *shoes, *flowers
        """
    ).flatMap { $0.split(separator: ",") }.map { entry in
        let parts = entry.split(separator: " ").map(String.init)
        guard let first = parts.first, first.hasPrefix("*") else {
            return (parts.first ?? "", parts.first ?? "", parts.last ?? "", false)
        }
        let plural = String(first.dropFirst())
        return (plural, plural, plural, true)
    }

    /// Numbers that captions write.
    static let numbers: [String: Int] = [
        "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "2": 2,
        "3": 3, "4": 4, "5": 5, "6": 6,
    ]

    /// Words that end a noun's own group of words.
    static let stops = words(
        """
        a an the of in on with and or to is are at by for from while as that which who his her their its into near over \
        next under behind through around some other another has have wearing holding it he she they up down off out one \
        two three four five six several many
        """)

    /// Words besides that end a noun's group in any caption.
    static let closers = words(
        """
        along across against onto above below beside between during after before front upon toward towards inside outside \
        beneath among like each very there them him this these those not be being been was were both does do can about \
        while where when what filled covered surrounded topped dressed made full ready past nearby together
        """)

    /// Nouns that say nothing of what there is to see, or stand for anything.
    static let vague = words(
        """
        picture photo photograph image view close closeup group couple bunch lot pair day number piece set top side front \
        back way kind type area part row line look shot scene background one thing something object item other few little \
        young large small big body place bit good long high old low time turn ride run walk jump sit stand pose break \
        person people someone display variety full half well formation position distance play haired way tries
        """)

    /// Verbs that say too little to be denied where captions do not have them.
    static let vagueVerbs = words(
        """
        standing looking wearing holding posing getting going having taking using trying making doing being showing \
        carrying watching preparing moving leaning coming giving putting enjoying beginning attempting pulling pushing
        """)

    /// Plurals that do not follow from the singular.
    static let plurals = [
        "man": "men", "woman": "women", "child": "children", "person": "people", "sheep": "sheep", "fish": "fish",
        "knife": "knives", "shelf": "shelves", "calf": "calves", "leaf": "leaves", "fireman": "firemen",
        "policeman": "policemen", "gentleman": "gentlemen", "mouse": "mice", "foot": "feet", "tooth": "teeth",
        "goose": "geese", "aircraft": "aircraft", "snowman": "snowmen", "fisherman": "fishermen", "deer": "deer",
    ]

    /// The article that a word takes.
    static func article(before word: String) -> String {
        let isVowel = word.first.map { "aeiou".contains($0) } ?? false
        return isVowel && !["uni", "eu", "one"].contains(where: word.hasPrefix) ? "an" : "a"
    }

    /// Words after which a noun need not be there.
    static let deniers = words(
        "toy stuffed fake plastic inflatable painted cartoon no without wooden like ceramic animal-shaped")

    /// Two words that mean something else than the second, or the first, alone.
    static let phrases: [String: String] = [
        "hot dog": "hotdog", "hot dogs": "hotdog", "teddy bear": "teddybear", "teddy bears": "teddybear",
        "dirt bike": "motorbike", "dirt bikes": "motorbikes", "dirt biker": "motorcyclist", "mountain bike": "bike",
        "mountain bikes": "bikes", "mountain biker": "biker", "mountain bikers": "bikers", "mountain biking": "biking",
        "mountain climber": "climber", "mountain climbing": "climbing", "bus stop": "busstop", "bus station": "busstop",
        "train track": "tracks", "train tracks": "tracks", "train station": "station", "water bottle": "bottle",
        "water bottles": "bottles", "water gun": "gun", "water guns": "guns", "street sign": "sign",
        "street signs": "signs", "street light": "light", "street lights": "lights", "swimming pool": "pool",
        "baby elephant": "elephant", "baby giraffe": "giraffe", "baby zebra": "zebra", "baby bear": "bear",
        "baby cow": "cow", "baby sheep": "sheep", "baby horse": "horse", "baby bird": "bird", "pool table": "billiards",
        "clock tower": "clock", "beach ball": "ball", "bean bag": "cushion", "horse drawn": "carriage",
        "fire truck": "truck", "cat fish": "fish", "tennis table": "tabletennis", "table tennis": "tabletennis",
        "car seat": "seat", "snow man": "snow", "banana boat": "boat", "bird house": "birdhouse",
        "book bag": "bag", "bus driver": "driver", "boat dock": "dock", "dog sled": "dog", "book shelf": "shelf",
    ]

    /// The words of a text between spaces.
    private static func words(_ text: String) -> Set<String> { Set(text.split(separator: " ").map(String.init)) }

    private static func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    private static func parse(_ text: String) -> [Thing] {
        lines(text).map { line in
            let parts = line.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.split(separator: " ").map(String.init)
            }
            var name = parts[0].joined(separator: " ")
            let mark = name.first
            if mark == "~" || mark == "=" { name.removeFirst() }
            let said = parts.count > 1 ? parts[1] : []
            let forms = expanded(said)
            let open = expanded(parts.count > 2 ? parts[2] : []).subtracting(forms)
            let isCounted = mark != "~" && mark != "=" && said.count > 1
            return Thing(
                name: name, isMass: mark == "~", counted: isCounted ? (said[0], said[1]) : nil, forms: forms, open: open
            )
        }
    }

    private static func expanded(_ list: [String]) -> Set<String> {
        list.reduce(into: []) { set, word in
            switch word {
            case "@people": set.formUnion(people)
            case "@named": set.formUnion(named)
            default: set.insert(word)
            }
        }
    }
}
